from rest_framework import serializers, viewsets
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BrowsableAPIRenderer

from .models import Thing


class ThingSerializer(serializers.ModelSerializer):
    class Meta:
        model = Thing
        fields = ["id", "name"]


class Things(viewsets.ModelViewSet):
    """A browsable thing."""

    queryset = Thing.objects.order_by("id")
    serializer_class = ThingSerializer
    permission_classes = [AllowAny]
    renderer_classes = [BrowsableAPIRenderer]
