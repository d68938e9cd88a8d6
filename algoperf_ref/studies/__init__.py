"""All trials and studies of a ruleset: planned, split over machines, one process for each trial.

The program is :mod:`algoperf_ref.study`.
"""
