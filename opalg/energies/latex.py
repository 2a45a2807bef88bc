def latex_of(e): return ""
def html_of(e): return ""
