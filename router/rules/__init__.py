"""The routing table: rules of operators, as a file of conditions and effects."""
