"""Against golden data made with the official implementations; tests/data/*/ holds a copy."""
