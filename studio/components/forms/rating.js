// A rating: the numbers of its scale side by side; a digit is the rating itself.
WIDGETS.rating = {
  ...ONE_OF,
  pick: (field, number) => {
    const place = field.question.choices.findIndex(([, value]) => value === number + 1);
    return place >= 0 && ONE_OF.pick(field, place);
  },
};
