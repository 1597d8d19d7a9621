"""Systems that are fitted in one call: linear models, support vector machines, ensembles."""
