"""The log of decisions: the record, its reader, replay, what is kept of prompts, exports."""
