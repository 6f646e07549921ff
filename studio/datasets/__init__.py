"""Datasets: what there is to export, and exports."""
