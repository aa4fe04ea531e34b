"""What is learnt from a table of prompts by arms: P(adequate), output lengths, and whom to ask twice."""
