"""Conformance tests: do the harness, the workloads and a submission satisfy the spec?"""
