"""Values: questions, answers, annotations, projects, imported records."""
