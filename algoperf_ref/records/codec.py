"""Lossless encoding of nested Python state as a JSON structure and a list of numpy arrays.

``decode(*encode(tree))`` gives the same values with the same types, bit for bit. Nothing is
pickled on the way in and nothing is unpickled on the way out: a type that this module does not
know is a :class:`CodecError` that names the place in the tree.

What comes back differs from what went in at three points only:

* A ``NamedTuple`` instance comes back as a :class:`StoredNamedTuple` (class name, fields, values),
  because its class cannot be found without importing code that a file names. A caller that holds
  a freshly built tree of the same structure gets its own classes back with :func:`restore_like`.
* Two places that share one object come back as two equal objects.
* Arrays that are neither C- nor Fortran-contiguous come back C-contiguous.

Encoding of a node, a JSON value: null, true/false, numbers, strings and lists stand for
themselves (lists for Python lists); everything else is an object with one key, its kind, for
example ``{"tuple": [...]}``, ``{"dict": [[key, value], ...]}`` or ``{"array": 3}``.
"""

from __future__ import annotations

import base64
import math
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MAX_DEPTH = 100
"""Deepest nesting accepted; keeps every recursion, that of ``json`` too, far from its limit."""

_JSON_INT_BITS = 64  # Longer integers are written in hexadecimal, which has no digit limit.

# What the decoders below raise when they meet something that no encoder wrote.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


class CodecError(ValueError):
    """A value cannot be stored, or a stored structure is malformed; names the place."""


class Encoded(NamedTuple):
    """An encoded tree.

    Attributes:
      structure: JSON value (``json.dumps`` with default settings accepts it).
      arrays: numpy arrays that ``structure`` refers to by index. They share memory with the
        encoded tree and hold only dtypes that the ``.npy`` format stores without pickling.
    """

    structure: Any
    arrays: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class StoredNamedTuple:
    """What a ``NamedTuple`` instance is decoded to.

    Attributes:
      class_name: ``module.qualname`` of the class when it was stored; never imported.
      fields: field names.
      values: decoded field values, in the same order.
    """

    class_name: str
    fields: tuple[str, ...]
    values: tuple[Any, ...]

    def asdict(self) -> dict[str, Any]:
        """Returns field name -> value."""
        return dict(zip(self.fields, self.values, strict=True))


def encode(tree: Any, *, name: str = "") -> Encoded:
    """Encodes a nested structure.

    Args:
      tree: any nesting of dict, OrderedDict, list, tuple, NamedTuple, set, frozenset, None, bool,
        int, float, complex, str, bytes, numpy scalars and numpy arrays (``ml_dtypes`` included,
        object dtypes excluded).
      name: how error messages call the root. With an empty name the string keys of a root dict
        stand alone: ``optimizer_state['scheduler'][0]``.

    Returns:
      The structure and its arrays. Equal trees give equal structures.

    Raises:
      CodecError: a value of another type, or nesting deeper than :data:`MAX_DEPTH`.
    """
    encoder = _Encoder()
    return Encoded(encoder.node(tree, name, 0), encoder.arrays)


def decode(structure: Any, arrays: Sequence[np.ndarray]) -> Any:
    """Inverse of :func:`encode`.

    Args:
      structure: JSON value made by :func:`encode`, possibly sent through ``json``.
      arrays: the arrays that belong to it. They are not copied.

    Returns:
      The tree, with :class:`StoredNamedTuple` in place of ``NamedTuple`` instances.

    Raises:
      CodecError: the structure is not one that :func:`encode` makes, or needs a dtype of
        ``ml_dtypes`` and that package is not installed.
    """
    try:
        return _decode(structure, arrays)
    except CodecError:
        raise
    except _MALFORMED as error:
        raise CodecError(f"malformed structure: {error}") from error


def restore_like(template: Any, stored: Any, *, name: str = "") -> Any:
    """Gives a decoded tree the ``NamedTuple`` classes of a freshly built one.

    Containers (dict, OrderedDict, list, tuple, NamedTuple) are followed in both trees; everything
    else, arrays included, is taken from ``stored`` as it is. Where the template has no container
    (for example None where the stored tree has more), the stored value is used unchanged.

    Args:
      template: tree of the wanted structure, for example a fresh optimizer state.
      stored: result of :func:`decode`.
      name: how error messages call the root.

    Returns:
      The stored values in the template's classes.

    Raises:
      CodecError: the structures differ: other class name, fields, keys, length or container.
    """
    place = name or "the root"
    if isinstance(stored, StoredNamedTuple):
        wanted = type(template)
        if not _is_named_tuple(template):
            raise CodecError(f"{place}: stored {stored.class_name}, wanted {wanted}")
        # The module may have moved (a submission at another path); name and fields may not.
        same_name = wanted.__name__ == stored.class_name.rpartition(".")[2]
        if not same_name or wanted._fields != stored.fields:
            raise CodecError(
                f"{place}: stored {stored.class_name}{stored.fields}, "
                f"wanted {_class_name(wanted)}{wanted._fields}"
            )
        fields = zip(wanted._fields, template, stored.values, strict=True)
        return wanted(*[restore_like(t, s, name=f"{name}.{field}") for field, t, s in fields])
    if type(template) not in (dict, OrderedDict, list, tuple) and not _is_named_tuple(template):
        return stored
    if type(template) is not type(stored):
        raise CodecError(f"{place}: stored {type(stored)}, wanted {type(template)}")
    if isinstance(stored, dict):
        if template.keys() != stored.keys():
            difference = sorted(map(repr, template.keys() ^ stored.keys()))
            raise CodecError(f"{place}: keys only on one side: {', '.join(difference)}")
        items = ((k, restore_like(template[k], v, name=_key(name, k))) for k, v in stored.items())
        return type(stored)(items)
    if len(template) != len(stored):
        raise CodecError(f"{place}: stored {len(stored)} entries, wanted {len(template)}")
    pairs = enumerate(zip(template, stored, strict=True))
    return type(stored)([restore_like(t, s, name=f"{name}[{i}]") for i, (t, s) in pairs])


class _Encoder:
    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def node(self, value: Any, name: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            place = name if len(name) <= 120 else name[:120] + "..."
            raise CodecError(f"{place}: nested deeper than {MAX_DEPTH} levels, or contains itself")
        kind = type(value)
        # Exact types: a subclass (an enum, np.float64, np.str_) is another type and says more.
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if value.bit_length() < _JSON_INT_BITS else {"int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": _double(value)}
        if kind is list:
            return self.sequence(value, name, depth)
        if kind is tuple:
            return {"tuple": self.sequence(value, name, depth)}
        if kind is dict:
            return {"dict": self.pairs(value, name, depth)}
        if kind is OrderedDict:
            return {"ordered_dict": self.pairs(value, name, depth)}
        if kind is np.ndarray:
            return self.array(value, name)
        if isinstance(value, np.generic):
            return self.scalar(value, name)
        if kind is bytes:
            return {"bytes": _base64(value)}
        if kind is complex:
            return {"complex": [_double(value.real), _double(value.imag)]}
        if kind is set or kind is frozenset:
            # Sorted by content: iteration order of a set of strings changes between processes.
            nodes = [self.node(member, f"{name}{{...}}", depth + 1) for member in value]
            return {kind.__name__: sorted(nodes, key=repr)}
        if _is_named_tuple(value):
            members = zip(value._fields, value, strict=True)
            values = [self.node(member, f"{name}.{f}", depth + 1) for f, member in members]
            return {"namedtuple": [_class_name(kind), list(value._fields), values]}
        raise CodecError(f"{name or 'the root'}: {kind} cannot be stored")

    def sequence(self, value: Sequence[Any], name: str, depth: int) -> list[Any]:
        return [self.node(member, f"{name}[{i}]", depth + 1) for i, member in enumerate(value)]

    def pairs(self, value: dict[Any, Any], name: str, depth: int) -> list[Any]:
        return [
            [
                self.node(key, f"{name}.keys()", depth + 1),
                self.node(member, _key(name, key), depth + 1),
            ]
            for key, member in value.items()
        ]

    def array(self, value: np.ndarray, name: str) -> dict[str, Any]:
        node: dict[str, Any] = {"array": len(self.arrays)}
        if _is_ml_dtype(value.dtype):
            node = {"ml_array": [len(self.arrays), value.dtype.name]}
            value = value.view(f"u{value.dtype.itemsize}")
        else:
            _check_dtype(value.dtype, name)
        self.arrays.append(value)
        return node

    def scalar(self, value: np.generic, name: str) -> dict[str, Any]:
        # Fixed-width numpy strings drop trailing zero characters, so these two go as themselves.
        if isinstance(value, np.str_):
            return {"np_str": str(value)}
        if isinstance(value, np.bytes_):
            return {"np_bytes": _base64(bytes(value))}
        array = np.asarray(value)
        if _is_ml_dtype(array.dtype):
            return {"ml_scalar": [array.dtype.name, _base64(array.tobytes())]}
        if isinstance(value, np.void):  # structured: its dtype needs more than a string
            _check_dtype(array.dtype, name)
            self.arrays.append(array)
            return {"void": len(self.arrays) - 1}
        _check_dtype(array.dtype, name)
        return {"scalar": [array.dtype.str, _base64(array.tobytes())]}


def _decode(node: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(node, list):
        return [_decode(member, arrays) for member in node]
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise CodecError(f"malformed structure: an object with {len(node)} keys")
    ((kind, content),) = node.items()
    if kind not in _DECODERS:
        raise CodecError(f"malformed structure: unknown kind {kind!r}")
    return _DECODERS[kind](content, arrays)


def _decode_pairs(content: Any, arrays: Sequence[np.ndarray]) -> list[tuple[Any, Any]]:
    return [(_decode(key, arrays), _decode(value, arrays)) for key, value in content]


def _decode_named_tuple(content: Any, arrays: Sequence[np.ndarray]) -> StoredNamedTuple:
    class_name, fields, values = content
    if len(fields) != len(values):
        raise CodecError(f"malformed structure: {class_name} has {len(values)} values")
    return StoredNamedTuple(class_name, tuple(fields), tuple(_decode(values, arrays)))


def _scalar(dtype: np.dtype[Any], content: str) -> Any:
    return np.frombuffer(base64.b64decode(content), dtype=dtype, count=1)[0]


_DECODERS: dict[str, Callable[[Any, Sequence[np.ndarray]], Any]] = {
    "int": lambda content, _: int(content, 16),
    "float": lambda content, _: _from_double(content),
    "complex": lambda content, _: complex(_from_double(content[0]), _from_double(content[1])),
    "bytes": lambda content, _: base64.b64decode(content),
    "tuple": lambda content, arrays: tuple(_decode(content, arrays)),
    "dict": lambda content, arrays: dict(_decode_pairs(content, arrays)),
    "ordered_dict": lambda content, arrays: OrderedDict(_decode_pairs(content, arrays)),
    "set": lambda content, arrays: set(_decode(content, arrays)),
    "frozenset": lambda content, arrays: frozenset(_decode(content, arrays)),
    "namedtuple": _decode_named_tuple,
    "array": lambda content, arrays: arrays[content],
    "ml_array": lambda content, arrays: arrays[content[0]].view(_ml_dtype(content[1])),
    "void": lambda content, arrays: arrays[content][()],
    "scalar": lambda content, _: _scalar(np.dtype(content[0]), content[1]),
    "ml_scalar": lambda content, _: _scalar(_ml_dtype(content[0]), content[1]),
    "np_str": lambda content, _: np.str_(content),
    "np_bytes": lambda content, _: np.bytes_(base64.b64decode(content)),
}


def _key(name: str, key: Any) -> str:
    return key if not name and isinstance(key, str) else f"{name}[{key!r}]"


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and isinstance(getattr(type(value), "_fields", None), tuple)


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _double(value: float) -> str:
    return struct.pack(">d", value).hex()


def _from_double(content: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(content))[0])


def _is_ml_dtype(dtype: np.dtype[Any]) -> bool:
    return dtype.type.__module__.split(".")[0] == "ml_dtypes"


def _ml_dtype(name: str) -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise CodecError(f"dtype {name} needs the package ml_dtypes: {error}") from error
    scalar_type = getattr(ml_dtypes, name, None)
    if not isinstance(scalar_type, type) or not issubclass(scalar_type, np.generic):
        raise CodecError(f"this version of ml_dtypes has no dtype {name!r}")
    return np.dtype(scalar_type)


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Raises CodecError unless the ``.npy`` header of this dtype gives the dtype back."""
    stored = None if dtype.hasobject else np.lib.format.dtype_to_descr(dtype)
    if stored is None or np.lib.format.descr_to_dtype(stored) != dtype:
        raise CodecError(f"{name or 'the root'}: an array of dtype {dtype} cannot be stored")
