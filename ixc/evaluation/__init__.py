"""Measuring what models can do: leaves that nothing imports."""
