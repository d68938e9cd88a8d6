"""The smallest complete submission of the self-tuning ruleset."""
