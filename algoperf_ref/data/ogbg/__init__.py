"""The molecules of the graph workload: where they lie, how they are made, how they are checked."""
