"""From tables and slices to what a person looks at: one page, pictures, a viewer link, a file server."""
