"""The rules sentence by sentence: one JSON file per document, read by :mod:`spec.sentences_table`.

Every file of this folder has the form::

    {
      "document": "Rules v0.6",
      "sentences": [
        {
          "section": "Evaluation during training",
          "sentence": "Calling prepare_for_eval is timed and charged to the submission.",
          "clauses": ["TIM-1", "EVAL-4"],
          "reason": ""
        }
      ]
    }

``document`` is the short name that clauses cite (``Source.document``). ``sentences`` are those that
state a rule (must, may, must not, is defined as, a number, a formula, a procedure, a part of
the API), in the order of the document, each put in our own words. ``section`` is the title or the
number of the section, as ``Source.section`` writes it. Exactly one of ``clauses`` and ``reason``
is filled: the ids of the clauses that execute the sentence, or why it cannot be executed (for
example ``"organisational: signatures on paper"``), with the other one ``[]`` or ``""``. All four
fields are given; any other field is an error. No two rows of a document have the same section
and sentence.
"""
