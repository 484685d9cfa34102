"""How sure a number is: values without each group of clips, and the intervals made of them."""
