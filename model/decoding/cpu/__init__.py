"""Operations of a decode step on a CPU: compiled C, or torch's."""
