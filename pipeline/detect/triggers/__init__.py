"""One module a trigger. Each suspects one type of event; ``pipeline.detect.catalog`` lists them."""
