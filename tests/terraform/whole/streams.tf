resource "aws_kinesis_stream" "clicks" {
  name        = "whole-clicks"
  shard_count = 1
}

resource "aws_lambda_event_source_mapping" "clicks" {
  event_source_arn                   = aws_kinesis_stream.clicks.arn
  function_name                      = aws_lambda_function.stored.arn
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 10
  maximum_batching_window_in_seconds = 1
  maximum_retry_attempts             = 2
  bisect_batch_on_function_error     = true
  destination_config {
    on_failure { destination_arn = aws_sqs_queue.dead.arn }
  }
}

resource "aws_lambda_event_source_mapping" "items" {
  event_source_arn  = aws_dynamodb_table.items.stream_arn
  function_name     = aws_lambda_alias.live.arn
  starting_position = "LATEST"
}
