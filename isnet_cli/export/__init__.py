"""What people look at: pictures, figures and the report, as arrays, bytes and text."""
