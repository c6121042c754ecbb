"""The shell around the decisions: observe, decide, act, record, again."""
