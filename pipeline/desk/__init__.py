"""The incident page: what the control room looks at, live, on loopback behind a token.

``pipeline.desk.app.create_app`` builds it, ``pipeline.desk.server.run_desk`` serves it.
"""
