"""Reading the analyses of Argo Rollouts and Flagger into gates, with a list of all that is not the same."""
