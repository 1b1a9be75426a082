"""The look-up API and the fleet page: what regions know, by HTTP."""
