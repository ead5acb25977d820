"""What people read: tables, data set cards, the HTML report. It computes no result."""
