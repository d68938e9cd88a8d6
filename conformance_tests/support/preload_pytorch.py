"""What the server of killed runs imports for PyTorch."""

import algoperf_ref.frameworks.torch_backend
import algoperf_ref.workloads.ogbg.gnn_torch
import algoperf_ref.workloads.ogbg.workload  # noqa: F401
