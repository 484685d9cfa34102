"""What is to be done: systems, clips and passes, and the plan that every question is answered from."""
