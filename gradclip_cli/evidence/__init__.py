"""Evidence: stored runs read as arms; metrics, statistics, comparisons, reports, plans and looks, one run looked at closely."""
