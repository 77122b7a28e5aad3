from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('localca', '0003_hierarchy'),
    ]

    operations = [
        migrations.AddField(
            model_name='revocationlist',
            name='is_given',
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
