"""The client side: data sets, models, exact local training, and Flower's ClientApp."""
