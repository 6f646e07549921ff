// Words of the prompt: each can be crossed out. They have no numbers, since there may be many.
WIDGETS.words = { ...SOME_OF, body: (field) => optionRow(field, 'checkbox', false), pick: () => false };
