"""Today's autoscalers as pure step functions, to be compared with on equal terms; the list is in ``registry``."""
