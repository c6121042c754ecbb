"""The house rules, checked in the test run."""
