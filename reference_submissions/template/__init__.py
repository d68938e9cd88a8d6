"""The smallest complete submissions, to be copied: ``python -m algoperf_ref.new_submission``."""
