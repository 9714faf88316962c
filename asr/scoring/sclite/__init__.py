"""What NIST's scoring tools define: alignment, marks, choices and the MAPSSWE test."""
