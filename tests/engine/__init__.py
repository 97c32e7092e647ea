"""What tests of the engine share: documents, runs on real servers, and real worker processes to be killed."""
