"""The smallest complete submission of the external-tuning ruleset."""
