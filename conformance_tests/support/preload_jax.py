"""What the server of killed runs imports for JAX; no device is touched."""

import algoperf_ref.frameworks.jax_backend
import algoperf_ref.workloads.ogbg.gnn_jax
import algoperf_ref.workloads.ogbg.workload  # noqa: F401
