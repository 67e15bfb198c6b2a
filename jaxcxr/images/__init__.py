"""Image files as gray arrays, and radiographs as the squares that networks take."""
