"""What models did with which prompts: read, checked, and made the table that all else works on."""
