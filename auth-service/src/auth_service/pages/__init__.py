"""The pages for people: what a mailed link opens. Plain HTML and CSS, without scripts."""
