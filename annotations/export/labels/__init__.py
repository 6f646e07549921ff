"""Labels of plans, images and pairs, aggregated from people's answers; export kinds make rows of them."""
