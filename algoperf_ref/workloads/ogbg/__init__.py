"""Molecules: a graph network predicts 128 properties of each (ogbg-molpcba)."""
