"""What people and machines do to runs and studies, as tables: case, how, what must be seen."""
