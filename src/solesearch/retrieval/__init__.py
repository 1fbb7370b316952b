"""Controls, exact search, precision in both galleries, intervals and paired tests."""
