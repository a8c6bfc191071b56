"""What this project costs, beside Model Garden and the physical floor. Each module is a command."""
