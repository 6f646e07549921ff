"""The widgets of question forms: one script per form, and the sheet that lays them out."""
