"""The state, the steps, and how they are spread over devices: pure functions made from functions."""
