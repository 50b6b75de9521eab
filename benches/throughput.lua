-- The example callback of the OSS API reference, signed by OSS itself.
wrk.method = "POST"
wrk.path = "/index.php?id=1&index=2"
wrk.body = "bucket=yonghu-test"
wrk.headers["content-type"] = "application/x-www-form-urlencoded"
wrk.headers["authorization"] =
  "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA=="
wrk.headers["x-oss-pub-key-url"] =
  "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ=="
