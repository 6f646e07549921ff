"""Values: questions, answers, annotations, projects."""
