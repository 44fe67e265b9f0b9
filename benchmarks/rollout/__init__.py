"""How rightly and how fast rollouts are judged: our judge beside the rules of Argo Rollouts, Flagger and Kayenta."""
