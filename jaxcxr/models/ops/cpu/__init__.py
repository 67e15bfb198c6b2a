"""Operations that only CPUs need."""
